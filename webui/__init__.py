"""The portal: pages over drives. Imports the drive and the model, never what lies beneath them."""
