"""The options of shapes, softened: what each pair of shape and site costs when its runs count a little, each."""
