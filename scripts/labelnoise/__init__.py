"""What errors in training labels cost a segmentation network: perturb, train, measure."""
