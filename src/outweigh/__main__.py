"""`python -m outweigh`."""

from outweigh.cli.main import main

if __name__ == "__main__":
    main()
