"""The board itself: sensors, performance mode, lock, memory, disturbance by others."""
