package port

// hold: other processes are not asked here.
func hold(int) (bool, error) { return true, nil }
