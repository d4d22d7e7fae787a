// Package serve answers /healthz, /readyz and /metrics for the long-running
// programs, and serves any handler until a context ends. It decides nothing: what
// healthy and ready mean is its caller's.
package serve
