"""The programs that made what the package ships: fonts and words to train on, the training, the pictures, the card."""
