// Package tools builds the programs that a lab runs, at the versions that lab/tools
// pins, once into a cache: a folder named by a hash of those pins, complete or absent.
// It also copies out the custom resource definitions that the pinned modules carry.
// It runs nothing that it builds.
package tools
