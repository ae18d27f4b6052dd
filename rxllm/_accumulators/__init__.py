"""What operators keep of a stream while it comes: pure, without Rx, each with the rule of one of them."""
