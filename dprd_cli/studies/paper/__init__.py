"""The paper's tables and figures, a module each: what they compare, and every number they give."""
