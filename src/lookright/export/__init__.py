"""A trained run in the forms that others read: ONNX, and a folder of the Hugging Face hub's layout."""
