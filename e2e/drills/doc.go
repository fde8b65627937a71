// Command drills kills and cuts things in herds of namespaces, at least ten times each, and counts what was lost. It prints one
// line per fault,
//
//	DRILL {"fault":"leader-kill","driver":"exec","runs":10,"acked":2950,"lost":0,"restarted":0,"seconds_p50":0.9,"seconds_max":1.4,…}
//
// and ends with an error that names every breach. Counters that a fault cannot change are left out of its line. Each drill has a herd
// of its own, used for all its runs: what died is booted again, and the herd must be whole before the next run.
//
// Drills run in a few lanes at a time: most of them wait for the cluster to notice something. Those that measure the time to a
// write or to work running elsewhere share one lane, so that they do not measure each other.
package main
