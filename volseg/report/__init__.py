"""`volseg report`: one HTML page about predictions."""
