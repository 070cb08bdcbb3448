"""`python -m lookout`."""

from lookout.cli import main

if __name__ == "__main__":
    main()
