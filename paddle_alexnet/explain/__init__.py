"""Explanations of a network: Grad-CAM, occlusion, filters, feature maps, LRN and nearest neighbors."""
