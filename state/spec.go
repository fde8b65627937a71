package state

// Group returns the group of that name, or nil.
func (j *Job) Group(name string) *TaskGroup {
	for i := range j.TaskGroups {
		if j.TaskGroups[i].Name == name {
			return &j.TaskGroups[i]
		}
	}
	return nil
}

// Task returns the task of that name, or nil.
func (g *TaskGroup) Task(name string) *Task {
	for i := range g.Tasks {
		if g.Tasks[i].Name == name {
			return &g.Tasks[i]
		}
	}
	return nil
}

// spec is the job without what the cluster adds to it.
func (j *Job) spec() *Job {
	s := *j
	s.Stop, s.Purge, s.Blocked = false, false, nil
	s.Version, s.SubmitTime = 0, 0
	s.CreateIndex, s.ModifyIndex, s.JobModifyIndex = 0, 0, 0
	return &s
}

// SpecEqual reports whether two jobs ask for the same, whatever the cluster has added to them.
func (j *Job) SpecEqual(o *Job) bool { return sameJSON(j.spec(), o.spec()) }
