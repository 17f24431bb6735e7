"""Folders of Hugging Face's hub: what their settings tell (``settings``), and writing them (``folder``)."""
