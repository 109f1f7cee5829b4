"""The rooms of `rmbg`: one module for each family of commands; `producer.cli` loads them."""
