"""IS-Net, the network of RMBG-1.4 and isnet-general-use."""
