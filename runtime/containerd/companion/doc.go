// Package companion holds the two small programs that our binary becomes next to a container: Init, process 1 inside where a job
// asks for one, and the copier of a terminal's output to the task's log file, which containerd starts beside the shim.
//
// Both are stateless, outlive the agent, and read nothing but their arguments. Main looks at the arguments and runs one of them; it
// must come before anything else a program does.
package companion
