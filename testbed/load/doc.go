// Package load describes what arrives at a tenant: patterns of arrivals (steady,
// Poisson, bursts, storms) and the work that each brings, as seeded generators.
//
// A Stream is a value that a scenario states once for a group of tenants; a State is
// the 24 bytes that each tenant keeps. Equal seeds give equal arrivals, whatever is
// done with them: two runs with different schedulers see the same load. Each pattern's
// long-run mean is exactly its Rate.
package load
