"""The ROS 2 edge: the only folder that imports rclpy or messages."""
