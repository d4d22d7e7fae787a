// Package kernelsuite runs the tests that are marked by package kerneltest: it builds
// their packages' test binaries here and runs them in guests with Debian's kernel (package
// guest), or directly where this machine's kernel has everything.
package kernelsuite
