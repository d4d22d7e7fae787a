// Package cli holds the commands of sdn-tunnel. They read flags and the inventory, call
// the package that does the work, and show what happens; they decide nothing about a mesh.
package cli
