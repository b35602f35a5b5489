"""What charging keeps, whatever was used."""
