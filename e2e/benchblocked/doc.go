// Command benchblocked measures what jobs that fit nowhere cost those that do. Copies fail and are replaced at a steady rate on
// simulated nodes (package fleet), first without and then with many blocked jobs in the state; the processor time
// that a replacement takes must not grow, and the log must not be written for the blocked jobs.
//
// It prints a line MACHINE {…}, a table, and one line BENCH {"bench":"blocked",…}, and ends with an error that names the bounds that do
// not hold.
package main
