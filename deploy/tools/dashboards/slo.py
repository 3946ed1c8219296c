"""The objectives. deploy/monitoring/rules/quire.rules.yml has the same numbers; a test compares them."""

# Shares that may be missed.
CALLS_BUDGET = 0.001
FIRST_TOKEN_BUDGET = 0.01
NEXT_TOKEN_BUDGET = 0.01
# Edges of buckets, in seconds. A new Prometheus writes "1.0" for what older ones call "1".
FIRST_TOKEN_EDGE = 'le=~"1|1[.]0"'
NEXT_TOKEN_EDGE = 'le=~"0.1"'
# Burn rates that page: 2 % of the budget of 30 days in an hour, 5 % in six.
FAST_BURN = 14.4
SLOW_BURN = 6
# Calls for answers; those that failed by our fault, and with them those that count at all.
METHODS = 'grpc_method=~"Generate|ModelInfer|ModelStreamInfer"'
FAILED_CODES = "Unknown|DeadlineExceeded|Internal|Unavailable|DataLoss"
FULL_REASONS = "queue_full|streams|deadline"
