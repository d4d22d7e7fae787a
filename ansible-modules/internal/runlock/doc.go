// Package runlock lets the modules of one run of ansible-playbook know whether the run still
// holds the clusters' locks.
//
// Whoever keeps locks for the run (Note) writes down until when they can be relied on, or that
// they are lost; every module looks there before it does anything, and while it works (Guard).
// Both find the run by ansible-playbook's process, so no playbook has to pass anything on. The
// notes hold no secrets; those of runs that are over are removed by the next one. A run that
// has no note has no lock, and its modules work as ever: who must not work without one is for
// the playbooks. Taking and renewing locks is for package deploylock.
package runlock
