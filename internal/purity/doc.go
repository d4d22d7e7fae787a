// Package purity holds the planning packages to what they are, computation without I/O,
// and keeps what is made for tests out of the programs. It has no code, only the tests
// that read imports.
package purity
