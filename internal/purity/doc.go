// Package purity holds the planning packages to what they are: computation without I/O.
// It has no code, only the test that reads their imports.
package purity
