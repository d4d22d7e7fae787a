// Package bench reads what Go's benchmarks print, sets the ways through the mesh in
// relation to raw WireGuard of the same run, holds the figures against their goals, and
// shows all of it as a table and as JSON. It runs nothing: `sdn-tunnel lab bench` does.
package bench
