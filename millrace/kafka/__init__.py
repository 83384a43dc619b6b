"""What every user of Kafka here shares."""
