// Command bench measures what Drover promises of itself and prints one line per figure,
//
//	BENCH {"bench":"dev-start","value":0.42,"unit":"s","bound":1,"sense":"max","runs":3,"holds":true,…}
//
// after a first line, MACHINE {…}, that names the machine. It ends with an error that names every bound that does not hold. A value
// is the median of its runs, which stand beside it. sense says whether bound is the most ("max") or the least ("min") that is right;
// a figure without one is for information and has neither bound nor holds.
//
// Agents run on machines made of namespaces (package herd), one for each agent, with the containerd that is inside the drover binary:
// what the host has plays no part, and everything ends with the machine. Where Drover is compared with bare containerd, both use the
// same daemon, the same image and the same settings in turn. Disks are directories below $TMPDIR, which must not be a tmpfs for the
// writes to mean something; MACHINE and the figures of writes say what it is.
package main
