"""How the loss rises around the weights.

The measures stand in `sharpness`; the other files work out gradients and Hessians.
"""
