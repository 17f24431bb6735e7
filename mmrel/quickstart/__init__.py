"""The bundled story: scenes, pretraining, export, two tasks on the frozen backbone, and a report of it all."""
