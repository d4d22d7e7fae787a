// Package remoteservice owns what a member of the mesh knows of the others' services:
// the shape of the EndpointSlices that the controller mirrors into its own cluster
// (labels, and an annotation with the service itself), and the table of addresses and
// endpoints that follows from them.
//
// The shape is read with care, for its content comes from another cluster: what is not
// as it should be is an error and used nowhere. The package is pure: it reads no API
// and programs nothing; package svcproxy does.
package remoteservice
