"""The BIDS dataset in (`inputs`) and the derivatives out (`outputs`)."""
