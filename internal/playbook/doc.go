// Package playbook runs the playbooks of sdn-tunnel through ansible-playbook: it finds
// them (in a source tree, or embedded in the program), runs one with a process group
// of its own, and turns what happens into events.
//
// It knows nothing of what the playbooks do, and it puts no variable's value on a
// command line or in the environment: they go into a file that only the user reads.
package playbook
