"""From labeled pictures, however they are stored, to a data set that training reads."""
