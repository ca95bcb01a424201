"""What errors in training labels cost a segmentation network: perturbation, training, measurement."""
