// Package module is Ansible's protocol for modules that are programs: the arguments
// come as JSON in a file whose path is the only argument, the result goes as one JSON
// object to standard output.
//
// It owns decoding (lenient where Ansible's templates turn types into strings, strict
// about names), defaults, choices, check mode, diffs, and the exit. It always says
// failed:true and exits 1 on an error, also after a panic: Ansible takes an exit
// code without that word for success. Arguments are never echoed. What a module
// does is not its business.
package module
