"""Models and the devices they run on."""
