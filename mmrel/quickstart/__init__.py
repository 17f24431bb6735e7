"""The bundled story: scenes, pretraining, export, fine-tuning, and a report of it all."""
