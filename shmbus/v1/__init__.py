"""Generated messages: edit proto/shmbus/v1/*.proto and run proto/generate."""
