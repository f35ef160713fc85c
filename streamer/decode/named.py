"""Message types → which of their lists of names names which of their fields: what their definitions say in words."""

from __future__ import annotations

USUAL = ("name", "names", "joint_name", "joint_names")
POINT = "trajectory_msgs/msg/JointTrajectoryPoint"
_STATES = ("desired", "actual", "error", "reference", "feedback", "output")
_FOLLOWED = {"joint_names": _STATES, "multi_dof_joint_names": tuple(f"multi_dof_{state}" for state in _STATES)}
NAMED: dict[str, dict[str, tuple[str, ...]]] = {  # type → its list of names → the fields that it names
    "sensor_msgs/msg/JointState": {"name": ("position", "velocity", "effort")},
    "sensor_msgs/msg/MultiDOFJointState": {"joint_names": ("transforms", "twist", "wrench")},
    "trajectory_msgs/msg/JointTrajectory": {"joint_names": ("points",)},
    "trajectory_msgs/msg/MultiDOFJointTrajectory": {"joint_names": ("points",)},
    "control_msgs/msg/JointTrajectoryControllerState": _FOLLOWED,
    "control_msgs/msg/FollowJointTrajectoryFeedback": _FOLLOWED,
    "control_msgs/action/FollowJointTrajectory_Feedback": _FOLLOWED,
    "control_msgs/msg/JointJog": {"joint_names": ("displacements", "velocities")},
    "control_msgs/msg/DynamicJointState": {"joint_names": ("interface_values",)},
    "control_msgs/msg/DynamicInterfaceGroupValues": {"interface_groups": ("interface_values",)},
    "control_msgs/msg/InterfaceValue": {"interface_names": ("values",)},
    "gazebo_msgs/msg/LinkStates": {"name": ("pose", "twist")},
    "gazebo_msgs/msg/ModelStates": {"name": ("pose", "twist")},
}
ONE_EACH = {  # lists of messages, in the order of the names: one message for each
    "sensor_msgs/msg/MultiDOFJointState": ("transforms", "twist", "wrench"),
    "trajectory_msgs/msg/MultiDOFJointTrajectoryPoint": ("transforms", "velocities", "accelerations"),
    "control_msgs/msg/DynamicJointState": ("interface_values",),
    "control_msgs/msg/DynamicInterfaceGroupValues": ("interface_values",),
    "gazebo_msgs/msg/LinkStates": ("pose", "twist"),
    "gazebo_msgs/msg/ModelStates": ("pose", "twist"),
}
