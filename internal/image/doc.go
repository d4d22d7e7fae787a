// Package image makes container images from programs on this machine, without a
// registry or a container engine: static binaries of our own, and host programs with
// the shared libraries that they need. Equal input gives equal bytes, so that an image
// is imported again only when something in it changed. It knows no Containerfile.
package image
