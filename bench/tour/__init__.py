"""A first look at the gateway: a bundled upstream, example definitions and the curl lines to try."""
