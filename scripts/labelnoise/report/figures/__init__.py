"""The study's figures, one module each: data frames or arrays in, a matplotlib Figure out."""
