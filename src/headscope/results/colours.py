"""Okabe and Ito's colours, which colour-blind readers can tell apart, and a grey."""

BLUE = "#0072B2"
ORANGE = "#E69F00"
GREEN = "#009E73"
VERMILION = "#D55E00"
PURPLE = "#CC79A7"
SKY = "#56B4E9"
GREY = "#8a8f98"
