package state

// DriverOf is the name of the driver that runs a task: the key of Node.Drivers for the name that the job file uses.
func DriverOf(t *Task) string {
	switch t.Driver {
	case "docker", "podman":
		return "containerd"
	case "raw_exec":
		return "exec"
	}
	return t.Driver
}
