"""Records of requests as Tyk Pump reads them, and the numbers of /tyk/health (tyk-core 6 and 8.2)."""
