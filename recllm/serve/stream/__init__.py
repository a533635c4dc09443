"""Events from a stream that speaks Kafka's protocol: each counts once, and what is none is kept aside."""
