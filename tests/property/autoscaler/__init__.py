"""What scaling keeps, whatever the demand."""
