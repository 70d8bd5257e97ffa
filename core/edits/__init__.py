"""What hooks return of a request or response, read and applied: URLs, header fields, queries, statuses."""
